//go:build tools

// Names the three Kubernetes programs that the testbed builds, so that go.mod
// and go.sum lock everything they need.
package kubernetes

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
