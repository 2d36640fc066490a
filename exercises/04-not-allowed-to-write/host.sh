kubectl --namespace exercise-4 wait --for=condition=Ready --timeout=5m pod/reporter
