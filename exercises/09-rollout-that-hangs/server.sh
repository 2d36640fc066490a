mkdir db
