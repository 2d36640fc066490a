kubectl --namespace exercise-5 wait --for=condition=Ready --timeout=5m pod/bookkeeper
kubectl --namespace exercise-5 delete pvc ledger --wait=false
