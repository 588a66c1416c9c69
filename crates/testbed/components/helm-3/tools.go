//go:build tools

// Package tools locks what the chart is checked with.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
