kubectl --namespace exercise-6 rollout status --timeout=5m deployment/diary
