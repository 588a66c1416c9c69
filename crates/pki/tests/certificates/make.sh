#!/bin/sh
# Makes the certificates beside this file anew. They are valid for a hundred years, and trusted by tests alone.
set -eu
cd "$(dirname "$0")"
days=36500

config() { # string mask, subject lines
    printf '[req]\nprompt=no\nutf8=yes\nstring_mask=%s\ndistinguished_name=dn\nx509_extensions=ca\n' "$1"
    printf '[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n[dn]\n'
    printf "$2"
}

# CAs for users, with names that not every library keeps as they are.
ca() { # file, string mask, subject lines
    openssl ecparam -name prime256v1 -genkey -out "ca-$1.key" # with BEGIN EC PARAMETERS before the key
    config "$2" "$3" > "ca-$1.cnf"
    openssl req -new -x509 -days $days -config "ca-$1.cnf" -key "ca-$1.key" -out "ca-$1.crt"
    rm "ca-$1.cnf"
}
ca domain utf8only '0.DC=com\n1.DC=example\nCN=Shop Issuing CA\n'
ca several utf8only '0.OU=access\n1.OU=databases\nO=Shop\n0.CN=clients\n1.CN=users\n'
ca multivalued utf8only 'C=DE\nO=Shop\nOU=access\n+CN=clients\n'
ca t61 nombstr 'O=Caf\303\251 \303\234berall\nCN=clients\n'
ca bmp MASK:2048 'O=Shop\nCN=clients\n'
ca email pkix 'CN=clients\nemailAddress=dba@example.com\nserialNumber=42\n'

# An intermediate one, with a key as OpenSSL wrote it of old.
openssl genrsa -traditional -out ca-intermediate.key 2048
openssl req -new -key ca-intermediate.key -subj '/DC=com/DC=example/DC=shop/CN=Clients' -out csr
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' > ext # without subjectKeyIdentifier
openssl x509 -req -in csr -CA ca-domain.crt -CAkey ca-domain.key -CAcreateserial -days $days -extfile ext -out ca-intermediate.crt

# Servers, as PostgreSQL's manual has them made, and with some of what goes wrong.
openssl req -new -x509 -days $days -nodes -newkey rsa:2048 -subj /CN=localhost -keyout self-ca.key -out self-ca.crt
openssl req -new -nodes -newkey rsa:2048 -subj /CN=root.example -keyout root.key -out csr
printf 'basicConstraints=critical,CA:TRUE\n' > ext
openssl x509 -req -in csr -days $days -extfile ext -signkey root.key -out root.crt
openssl req -new -nodes -newkey rsa:2048 -subj /CN=localhost -keyout server.key -out server.csr
openssl x509 -req -in server.csr -days $days -CA root.crt -CAkey root.key -CAcreateserial -out v1.crt
openssl x509 -req -in server.csr -days $days -signkey server.key -out self-v1.crt
server() { # file, extensions, further arguments
    file=$1; printf "$2" > ext; shift 2
    openssl x509 -req -in server.csr -days $days -CA root.crt -CAkey root.key -CAcreateserial -extfile ext "$@" -out "$file.crt"
}
server common-name 'basicConstraints=CA:FALSE\n'
server good 'subjectAltName=DNS:localhost\n'
server other-name 'subjectAltName=DNS:db.example,IP:192.0.2.1\n'
server for-clients 'subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth\n'
server sha1 'subjectAltName=DNS:localhost\n' -sha1
openssl ecparam -name secp256k1 -genkey -noout -out curve-root.key
openssl req -new -x509 -days $days -key curve-root.key -subj /CN=curve -out curve-root.crt
openssl x509 -req -in server.csr -days $days -CA curve-root.crt -CAkey curve-root.key -CAcreateserial -extfile ext -out curve.crt
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n' > ext
openssl req -new -nodes -newkey rsa:2048 -subj /CN=between.example -keyout between.key -out csr
openssl x509 -req -in csr -days $days -CA root.crt -CAkey root.key -CAcreateserial -extfile ext -out between.crt
printf 'subjectAltName=DNS:localhost\n' > ext
openssl x509 -req -in server.csr -days $days -CA between.crt -CAkey between.key -CAcreateserial -extfile ext -out below.crt
openssl req -new -nodes -newkey rsa:1024 -subj /CN=small.example -keyout small-root.key -out csr
printf 'basicConstraints=critical,CA:TRUE\n' > ext
openssl x509 -req -in csr -days $days -extfile ext -signkey small-root.key -out small-root.crt
printf 'subjectAltName=DNS:localhost\n' > ext
openssl x509 -req -in server.csr -days $days -CA small-root.crt -CAkey small-root.key -CAcreateserial -extfile ext -out small.crt

# Admin users.
openssl req -new -nodes -newkey rsa:2048 -subj /CN=admin -keyout admin.key -out csr
openssl x509 -req -in csr -days $days -CA root.crt -CAkey root.key -CAcreateserial -out admin-v1.crt
printf 'extendedKeyUsage=serverAuth\n' > ext
openssl x509 -req -in csr -days $days -CA root.crt -CAkey root.key -CAcreateserial -extfile ext -out admin-for-servers.crt
openssl x509 -req -in csr -days $days -CA between.crt -CAkey between.key -CAcreateserial -extfile /dev/null -out admin-below.crt
openssl pkey -in admin.key -aes128 -passout pass:secret -out admin-encrypted.key
openssl rsa -traditional -in admin.key -aes128 -passout pass:secret -out admin-encrypted-old.key
openssl ecparam -name secp256k1 -genkey -noout -out admin-curve.key
openssl req -new -key admin-curve.key -subj /CN=admin -out csr
openssl x509 -req -in csr -days $days -CA root.crt -CAkey root.key -CAcreateserial -out admin-curve.crt

rm -f csr ext server.csr ./*.srl between.key small-root.key curve-root.key
