// Says what Argo CD makes of Kubernetes objects, with its own library: reads
// {customizations, objects} and writes a list of {status, message}.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	// By group and kind, as in argocd-cm.
	Customizations map[string]v1alpha1.ResourceOverride `json:"customizations"`
	Objects        []json.RawMessage                    `json:"objects"`
}

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var question question
	if err := json.NewDecoder(os.Stdin).Decode(&question); err != nil {
		return err
	}
	overrides := lua.ResourceHealthOverrides(question.Customizations)
	verdicts := make([]verdict, 0, len(question.Objects))
	for _, bytes := range question.Objects {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(bytes); err != nil {
			return err
		}
		health, err := overrides.GetResourceHealth(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		// Argo CD takes an object without health for a healthy one.
		said := verdict{}
		if health != nil {
			said = verdict{string(health.Status), health.Message}
		}
		verdicts = append(verdicts, said)
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}
