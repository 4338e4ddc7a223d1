# Puts the backup of the folder $BACKUP in the place of the databases, once all three of its dumps are read.
set -eu
cd "$BACKUPS/$BACKUP"
for database in ledger mlflow mlflow_auth; do
    dropdb --if-exists "${database}_restored"
    createdb "${database}_restored"
    pg_restore --exit-on-error --no-owner --dbname="${database}_restored" "$database.dump"
done
for database in ledger mlflow mlflow_auth; do
    dropdb --if-exists --force "$database"
    psql --dbname=postgres --quiet --command="ALTER DATABASE ${database}_restored RENAME TO $database"
done
echo "restored $BACKUP"
