// Builds the etcd server from its Go module, which has no main package of its
// own that "go build" could name from outside.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
