kubectl --namespace exercise-2 wait --for=jsonpath='{.status.phase}'=Bound --timeout=3m pvc/photos
