mkdir ledger
echo "balance: 42" > ledger/book
