// Says what Helm and Flux make of Kubernetes objects, with their own
// libraries: reads {expressions, objects} and writes a list of {kstatus, flux},
// each {status, message}. Both are the same where no expression is for a kind.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	// healthCheckExprs of a Kustomization.
	Expressions []kustomize.CustomHealthCheck `json:"expressions"`
	Objects     []json.RawMessage             `json:"objects"`
}

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type verdicts struct {
	Kstatus verdict `json:"kstatus"`
	Flux    verdict `json:"flux"`
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
	answer := make([]verdicts, 0, len(question.Objects))
	for _, bytes := range question.Objects {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(bytes); err != nil {
			return err
		}
		said, err := judge(question.Expressions, object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		answer = append(answer, said)
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

func judge(expressions []kustomize.CustomHealthCheck, object *unstructured.Unstructured) (verdicts, error) {
	result, err := status.Compute(object)
	if err != nil {
		return verdicts{}, err
	}
	said := verdict{string(result.Status), result.Message}
	both := verdicts{said, said}
	for _, check := range expressions {
		gvk := object.GroupVersionKind()
		if check.APIVersion != gvk.GroupVersion().String() || (check.Kind != "" && check.Kind != gvk.Kind) {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return verdicts{}, err
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return verdicts{}, err
		}
		both.Flux = verdict{string(result.Status), result.Message}
	}
	return both, nil
}
