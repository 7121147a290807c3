#!/bin/sh
# Certificates of one authority, for the servers and clients of one stack:
#
#   certificates.sh FOLDER NAME[=HOST[,HOST]]...
#
# writes ca.pem, which all trust, and of each NAME a NAME.pem with its key and its certificate, whose
# subject is CN=NAME and which is good for the hosts and addresses given (a client needs none). What is
# there and good for another 30 days stays. ca.key signs: keep it where nobody serves from.
set -eu
umask 077

DAYS=825
SOON=$((30 * 24 * 3600))

folder=$1
shift
mkdir -p "$folder"
cd "$folder"

good() { [ -s "$1" ] && openssl x509 -in "$1" -checkend "$SOON" -noout >/dev/null 2>&1; }

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if ! good ca.pem; then
  new_key ca.key
  openssl req -x509 -new -key ca.key -days "$DAYS" -subj "/CN=Tocsin stack" -out ca.pem \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign"
  chmod 644 ca.pem
fi

for one; do
  name=${one%%=*}
  if good "$name.pem" && openssl verify -CAfile ca.pem "$name.pem" >/dev/null 2>&1; then continue; fi
  {
    echo "basicConstraints=critical,CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=serverAuth,clientAuth"
    case $one in
      *=*)
        printf '%s\n' "${one#*=}" | tr , '\n' |
          sed -E 's/^[0-9.]+$/IP:&/; t; s/^.*:.*$/IP:&/; t; s/^/DNS:/' | paste -sd , - |
          sed 's/^/subjectAltName=/'
        ;;
    esac
  } >"$name.ext"
  new_key "$name.key"
  openssl req -new -key "$name.key" -subj "/CN=$name" |
    openssl x509 -req -CA ca.pem -CAkey ca.key -days "$DAYS" -extfile "$name.ext" -out "$name.crt" 2>/dev/null
  cat "$name.key" "$name.crt" >"$name.new"
  mv "$name.new" "$name.pem" # whole or not at all
  rm "$name.key" "$name.crt" "$name.ext"
done
