#!/bin/sh
# Makes a key without passphrase, as the archives of distributions have: key.sh GNUPGHOME NAME. Prints its fingerprint.
set -eu
export GNUPGHOME="$1"
mkdir -p -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key "$2 <$2@example.org>" rsa3072 sign never
gpg --batch --quiet --armor --export "$2@example.org" >"$GNUPGHOME/$2.asc"
gpg --batch --with-colons --list-keys "$2@example.org" | sed -n 's/^fpr:*\([0-9A-F]*\):.*/\1/p'
