kubectl wait --for=jsonpath='{.status.phase}'=Released --timeout=3m pv/exercise-3-letters
