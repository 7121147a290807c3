#!/bin/sh
# What a secured stack starts from: secrets.sh FOLDER makes certificates, passwords and Redis' users.
#
# Each part of the stack has a folder of its own there and is given no other: `kafka`, `redis`, `admin`
# (who makes users and grants rights), `exporter`, and one for each role of `tocsin rights`. What is
# there stays, but certificates that end soon. A part reads its folder as a member of our group.
set -eu
umask 027

ROLES="operator payments cameras cases simulator fraud labels vision dashboard webhooks consumer monitor"

folder=$1
here=$(dirname "$0")
mkdir -p "$folder"

password() { # FILE: a new one, unless it is there
  [ -s "$1" ] || openssl rand -hex 24 | tr -d '\n' >"$1"
}

mkdir -p -m 700 "$folder/authority"
"$here/certificates.sh" "$folder/authority" \
  kafka=kafka,localhost,127.0.0.1 redis=redis,localhost,127.0.0.1 admin monitor
for part in kafka redis admin exporter $ROLES; do
  mkdir -p "$folder/$part"
  install -m 640 "$folder/authority/ca.pem" "$folder/$part/ca.pem"
done
for part in kafka redis admin monitor; do
  install -m 640 "$folder/authority/$part.pem" "$folder/$part/$part.pem"
done

{
  echo "user default off"
  password "$folder/exporter/password"
  digest=$(openssl dgst -sha256 -r "$folder/exporter/password" | cut -d ' ' -f 1)
  echo "user exporter reset on #$digest -@all +ping +select +info +config|get +client|setname" \
    "+client|list +slowlog|get +slowlog|len +latency|latest +latency|histogram +memory|stats"
  for role in $ROLES; do
    mine=$folder/$role
    printf %s "$role" | tee "$mine/TOCSIN_REDIS__USERNAME" >"$mine/TOCSIN_KAFKA__SASL_USERNAME"
    password "$mine/TOCSIN_KAFKA__SASL_PASSWORD"
    password "$mine/TOCSIN_REDIS__PASSWORD"
    install -m 640 "$mine/TOCSIN_KAFKA__SASL_PASSWORD" "$folder/admin/$role.password"
    case $role in
      payments | cameras | cases | simulator | monitor) ;; # need no Redis
      *) TOCSIN_SECRETS_DIR=$mine tocsin rights redis "$role" ;;
    esac
  done
} >"$folder/redis/users.new"
mv "$folder/redis/users.new" "$folder/redis/users.acl" # whole or not at all
# Newer Redis exporters look their password up with the user's name before the address, older ones without.
word=$(cat "$folder/exporter/password")
printf '{"rediss://exporter@redis:6379": "%s", "rediss://redis:6379": "%s"}' "$word" "$word" \
  >"$folder/exporter/passwords.json"
