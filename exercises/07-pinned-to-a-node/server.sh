mkdir orders
