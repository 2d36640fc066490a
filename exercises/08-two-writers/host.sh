kubectl --namespace exercise-8 wait --for=condition=Ready --timeout=5m pod/writer-1 pod/writer-2
