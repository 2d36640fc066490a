kubectl --namespace exercise-7 wait --for=condition=Ready --timeout=5m pod/shop
kubectl --namespace exercise-7 exec shop -- sh -c 'printf "order 1: paid\norder 2: sent\norder 3: new\n" > /orders/list'
kubectl --namespace exercise-7 exec shop -- grep -qx 'order 3: new' /orders/list
