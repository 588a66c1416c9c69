{{/* The name of the chart, or what replaces it. */}}
{{- define "rolecall.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What all names begin with. The longest suffix is "-operator-uninstall". */}}
{{- define "rolecall.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "rolecall.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trimSuffix "-operator" | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of the operator's own objects. */}}
{{- define "rolecall.operator" -}}
{{- printf "%s-operator" (include "rolecall.fullname" .) -}}
{{- end -}}

{{- define "rolecall.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "rolecall.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rolecall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "rolecall.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") | trunc 63 | trimSuffix "-" }}
{{ include "rolecall.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/part-of: rolecall
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of an object: (dict "root" $ "labels" ... "annotations" ...). */}}
{{- define "rolecall.metadata" -}}
labels:
  {{- merge (dict) (.labels | default dict) (include "rolecall.labels" .root | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "rolecall.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rolecall.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "rolecall.image" -}}
{{- $registry := default .Values.image.registry .Values.global.imageRegistry -}}
{{- if $registry -}}{{ trimSuffix "/" $registry }}/{{- end -}}
{{- .Values.image.repository -}}
{{- if .Values.image.digest -}}@{{ .Values.image.digest }}{{- else -}}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end -}}
{{- end -}}

{{/* Pull secrets may be names or, as in a Pod, objects with a name. */}}
{{- define "rolecall.pullSecrets" -}}
{{- range concat .Values.global.imagePullSecrets .Values.image.pullSecrets }}
- name: {{ if kindIs "map" . }}{{ .name }}{{ else }}{{ . }}{{ end }}
{{- end }}
{{- end -}}

{{/* The operator's rules: all of them, or those about Secrets, or the others. */}}
{{- define "rolecall.rules" -}}
{{- $rules := list -}}
{{- range (.root.Files.Get "files/rbac/operator_cluster_role.yaml" | fromYaml).rules -}}
{{- $secrets := has "secrets" .resources -}}
{{- if or (eq $.which "all") (and (eq $.which "secrets") $secrets) (and (eq $.which "others") (not $secrets)) -}}
{{- $rules = append $rules . -}}
{{- end -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}

{{- define "rolecall.subjects" -}}
- kind: ServiceAccount
  name: {{ include "rolecall.serviceAccount" . }}
  namespace: {{ include "rolecall.namespace" . }}
{{- end -}}

{{/* Does the API server change objects, by MutatingAdmissionPolicies? */}}
{{- define "rolecall.mutates" -}}
{{- $newEnough := semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}
{{- if and .Values.admission.enabled (or (eq .Values.admission.mutating "Always") (and (eq .Values.admission.mutating "Auto") $newEnough)) -}}
true
{{- end -}}
{{- end -}}

{{/* Does it put the finalizer on sessions? Only where the operator works in every namespace, and can stop that before it goes. */}}
{{- define "rolecall.finalizes" -}}
{{- if and (include "rolecall.mutates" .) .Values.uninstall.enabled .Values.rbac.create (not .Values.watchNamespaces) -}}
true
{{- end -}}
{{- end -}}
