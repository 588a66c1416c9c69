// Stands in for a kubelet as far as forwarding of ports goes: what container
// runtimes answer such requests with, in front of servers of this machine.
//
// usage: kubelet PORT TARGETS
//
// TARGETS is a file that is read for each connection: lines
// NAMESPACE/POD:PORT=HOST:PORT.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

const (
	idleTimeout     = 4 * time.Hour
	creationTimeout = 30 * time.Second
)

// forwarder leads a port of a Pod to the address that the file names.
type forwarder struct{ targets string }

func (f forwarder) PortForward(ctx context.Context, name string, uid string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	text, err := os.ReadFile(f.targets)
	if err != nil {
		return err
	}
	wanted := fmt.Sprintf("%s:%d=", name, port)
	address := ""
	for _, line := range strings.Split(string(text), "\n") {
		if to, found := strings.CutPrefix(line, wanted); found {
			// A later line replaces an earlier one.
			address = to
		}
	}
	if address == "" {
		return fmt.Errorf("nothing listens on port %d of the Pod %s", port, name)
	}
	server, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	go func() {
		io.Copy(server, stream)
		done <- struct{}{}
	}()
	go func() {
		io.Copy(stream, server)
		done <- struct{}{}
	}()
	<-done
	return nil
}

func main() {
	certificate, err := selfSigned()
	if err != nil {
		log.Fatal(err)
	}
	forward := forwarder{targets: os.Args[2]}
	mux := http.NewServeMux()
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		pod := r.PathValue("namespace") + "/" + r.PathValue("pod")
		portforward.ServePortForward(w, r, forward, pod, "", options, idleTimeout, creationTimeout, portforward.SupportedProtocols)
	})
	server := &http.Server{
		Addr:      "127.0.0.1:" + os.Args[1],
		Handler:   mux,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
		// The protocol is an upgrade, which HTTP/2 does not have.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
