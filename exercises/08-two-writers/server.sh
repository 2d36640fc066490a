mkdir journal
echo "page 1" > journal/pages
