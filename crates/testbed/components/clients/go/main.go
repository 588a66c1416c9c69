// Logs in with pgx, by the URI and the three variables that stand for its files.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string) error {
	for variable, file := range map[string]string{"PGSSLCERT": "tls.crt", "PGSSLKEY": "tls.key", "PGSSLROOTCERT": "ca.crt"} {
		path := filepath.Join(folder, file)
		if _, err := os.Stat(path); err == nil {
			os.Setenv(variable, path)
		}
	}
	uri, err := os.ReadFile(filepath.Join(folder, "uri"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	connection, err := pgx.Connect(ctx, string(uri))
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	var name string
	if err := connection.QueryRow(ctx, "select current_user").Scan(&name); err != nil {
		return err
	}
	fmt.Println(name)
	return nil
}
