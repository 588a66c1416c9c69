// Logs in with node-postgres, which reads the names of the files from the URI and from no variable.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { Client } = require("pg");

async function main(folder) {
  const files = { sslcert: "tls.crt", sslkey: "tls.key", sslrootcert: "ca.crt" };
  const uri = new URL(fs.readFileSync(path.join(folder, "uri"), "utf8"));
  for (const [parameter, file] of Object.entries(files)) {
    if (fs.existsSync(path.join(folder, file))) uri.searchParams.set(parameter, path.join(folder, file));
  }
  const client = new Client({ connectionString: uri.toString(), connectionTimeoutMillis: 30000 });
  await client.connect();
  const { rows } = await client.query("select current_user as name");
  console.log(rows[0].name);
  await client.end();
}

main(process.argv[2]).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
