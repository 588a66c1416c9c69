#!/usr/bin/env bash
# pgjdbc 42.7.14: a PEM key given by sslkey is taken for RSA whatever it says.
#
# Seen: an EC P-256 key in PKCS #8 PEM, which libpq takes, fails with "Could not load the private key" caused by
# "Invalid RSA private key"; with pemKeyAlgorithm=EC the same file works, and so does the same key as PKCS #8 DER (a
# file name that ends in .pk8), without any property.
# Follows for whoever hands out certificates: put a DER key beside the PEM one.
set -euo pipefail
work=$(mktemp -d); source "$(dirname "$0")/lib/postgresql.sh"
trap 'pg_stop server; rm -rf "$work"' EXIT
pg_install
port=$(free_port)
cd "$work"
new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
new_key ca.key; openssl req -x509 -key ca.key -subj /CN=ca -days 2 -out ca.crt
for name in localhost shopper; do
    new_key $name.key
    openssl req -new -key $name.key -subj /CN=$name -out $name.csr
    printf 'subjectAltName=DNS:%s\n' $name >$name.ext
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.crt 2>/dev/null
done
openssl pkcs8 -topk8 -nocrypt -in shopper.key -outform DER -out shopper.pk8
chmod 600 shopper.key shopper.pk8
mkdir tls && cp localhost.crt localhost.key ca.crt tls && chmod 600 tls/localhost.key
[ -z "$pg_run" ] || chown -R nobody:nogroup tls
chmod a+rx "$work"
pg_start server "$port" ssl=on ssl_cert_file="$work/tls/localhost.crt" ssl_key_file="$work/tls/localhost.key" ssl_ca_file="$work/tls/ca.crt"
python3 -m pip install --quiet --target "$work/py" 'psycopg[binary]==3.3.9' >/dev/null 2>&1
PYTHONPATH="$work/py" python3 -c "
import psycopg
c = psycopg.connect('host=127.0.0.1 port=$port user=postgres dbname=postgres', autocommit=True)
c.execute('create role shopper login')"
printf 'hostssl all shopper 127.0.0.1/32 cert\nhost all all 127.0.0.1/32 trust\nlocal all all trust\n' >pg_hba.conf
cat pg_hba.conf | $pg_run tee server/data/pg_hba.conf >/dev/null
$pg_run "$pg_bin/pg_ctl" -D server/data reload >/dev/null
mkdir app && cat >app/pom.xml <<'P'
<project><modelVersion>4.0.0</modelVersion><groupId>findings</groupId><artifactId>app</artifactId><version>1</version>
<dependencies><dependency><groupId>org.postgresql</groupId><artifactId>postgresql</artifactId><version>42.7.14</version></dependency></dependencies></project>
P
(cd app && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=lib >/dev/null)
cat >app/Login.java <<'J'
import java.sql.*;
public class Login {
    public static void main(String[] args) {
        try (Connection c = DriverManager.getConnection(args[0])) {
            System.out.println("login as " + c.getMetaData().getUserName());
        } catch (SQLException e) {
            String causes = "";
            for (Throwable t = e; t != null; t = t.getCause()) causes += " | " + t.getMessage();
            System.out.println("refused" + causes);
        }
    }
}
J
url="jdbc:postgresql://localhost:$port/postgres?user=shopper&sslmode=verify-full&sslrootcert=$work/ca.crt&sslcert=$work/shopper.crt"
login() { java -cp 'app/lib/*' app/Login.java "$1"; }
pem=$(login "$url&sslkey=$work/shopper.key")
told=$(login "$url&sslkey=$work/shopper.key&pemKeyAlgorithm=EC")
der=$(login "$url&sslkey=$work/shopper.pk8")
printf 'PEM: %s\nPEM with pemKeyAlgorithm=EC: %s\nDER: %s\n' "$pem" "$told" "$der"
case "$pem" in *"Invalid RSA private key"*) ;; *) exit 1 ;; esac
[ "$told" = "login as shopper" ] && [ "$der" = "login as shopper" ]
