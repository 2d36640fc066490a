mkdir letters
echo "keep me" > letters/letter
