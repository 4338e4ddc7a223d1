# Dumps each database into a folder of its own, named after the time; the newest $KEEP of these folders stay.
set -eu
cd "$BACKUPS"
find . -maxdepth 1 -name '.unfinished-*' -mtime +0 -exec rm -r {} +
new=$(mktemp -d .unfinished-XXXXXX)
trap 'rm -rf "$new"' EXIT
for database in ledger mlflow mlflow_auth; do
    pg_dump --format=custom --file="$new/$database.dump" "$database"
done
name=$(date -u +%Y-%m-%dT%H%M%SZ)
mv --no-target-directory "$new" "$name"
ls -d ????-??-??T??????Z | sort | head -n "-$KEEP" | xargs -r rm -r
echo "made $name; there are:"
ls -d ????-??-??T??????Z
