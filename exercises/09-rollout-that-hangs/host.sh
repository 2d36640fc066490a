kubectl --namespace exercise-9 rollout status --timeout=5m deployment/db
kubectl --namespace exercise-9 set env deployment/db VERSION=2
kubectl --namespace exercise-9 wait --for=jsonpath='{.status.unavailableReplicas}'=1 --timeout=3m deployment/db
kubectl --namespace exercise-9 wait --for=jsonpath='{.status.phase}'=Running --timeout=5m pod --selector app=db
