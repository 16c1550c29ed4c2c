{{- define "durable-timer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "durable-timer.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "durable-timer.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "durable-timer.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* A name for what is shared by the whole cluster or lies in another namespace: it tells releases apart. */}}
{{- define "durable-timer.clustername" -}}
{{- printf "%s-%s" .Release.Namespace (include "durable-timer.fullname" .) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Labels of every object. Input: dict root, component (may be empty). */}}
{{- define "durable-timer.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: durable-timer
{{ include "durable-timer.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of pods: nothing that changes with the chart alone, which would replace them. Input: as for labels, values. */}}
{{- define "durable-timer.podLabels" -}}
app.kubernetes.io/part-of: durable-timer
{{ include "durable-timer.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with (.values | default dict).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What selects pods; never changes. Input: dict root, component, executors (a pool's key, or nothing). */}}
{{- define "durable-timer.selector" -}}
app.kubernetes.io/name: {{ include "durable-timer.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .executors }}
durabletimer.dev/executors: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "durable-timer.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The Secret and key that hold a store's URL, as YAML. Input: dict root, name. */}}
{{- define "durable-timer.storeSecret" -}}
{{- $store := index .root.Values.stores .name | default dict -}}
{{- $own := printf "%s-store-%s" (include "durable-timer.fullname" .root) .name -}}
{{- $tls := $store.tls | default dict -}}
{{- if and $tls.caSecretName $tls.caConfigMapName -}}
{{- fail (printf "stores.%s.tls: name either caSecretName or caConfigMapName" .name) -}}
{{- else if and (or $tls.caSecretName $tls.caConfigMapName) (not (hasPrefix "verify-" ($tls.mode | default ""))) -}}
{{- fail (printf "stores.%s.tls.mode: must be verify-ca or verify-full where an authority is named" .name) -}}
{{- end -}}
{{- if and $store.secretName $store.url -}}
{{- fail (printf "stores.%s: name either secretName or url" .name) -}}
{{- else if $store.secretName -}}
name: {{ $store.secretName | quote }}
key: {{ $store.secretKey | default "url" | quote }}
{{- else if or $store.url (and (eq .name "default") .root.Values.embedded.enabled) -}}
name: {{ $own }}
key: url
{{- else -}}
{{- fail (printf "stores.%s: name the Secret that holds the database's URL: --set stores.%s.secretName=NAME (or, to try it out, --set embedded.enabled=true)" .name .name) -}}
{{- end -}}
{{- end }}

{{/* One store's URL as environment variables. Input: dict root, name (of the store), variable. */}}
{{- define "durable-timer.storeEnv" -}}
{{- $store := index .root.Values.stores .name | default dict -}}
{{- $secret := include "durable-timer.storeSecret" . | fromYaml -}}
{{- $tls := $store.tls | default dict -}}
{{- if $tls.mode }}
{{- $raw := printf "STORE_URL_%s" (.name | upper | replace "-" "_") }}
- name: {{ $raw }}
  valueFrom: {secretKeyRef: {name: {{ $secret.name | quote }}, key: {{ $secret.key | quote }}}}
- name: {{ .variable }}
  value: "$({{ $raw }})?sslmode={{ $tls.mode }}{{ with include "durable-timer.storeAuthority" (dict "name" .name "tls" $tls) }}&sslrootcert={{ . }}{{ end }}"
{{- else }}
- name: {{ .variable }}
  valueFrom: {secretKeyRef: {name: {{ $secret.name | quote }}, key: {{ $secret.key | quote }}}}
{{- end }}
{{- end }}

{{/* The file of authorities that a database's certificate is held against; nothing where it is not. Input: dict name, tls. */}}
{{- define "durable-timer.storeAuthority" -}}
{{- if or .tls.caSecretName .tls.caConfigMapName -}}
/etc/durable-timer/stores/{{ .name }}/{{ .tls.caKey | default "ca.crt" }}
{{- else if hasPrefix "verify-" .tls.mode -}}
/etc/ssl/certs/ca-certificates.crt
{{- end -}}
{{- end }}

{{/* All stores: the default one and the named ones. */}}
{{- define "durable-timer.allStoresEnv" -}}
{{- range $name := keys .Values.stores | sortAlpha }}
{{- if eq $name "default" }}
{{- include "durable-timer.storeEnv" (dict "root" $ "name" $name "variable" "DURABLE_TIMER_STORE") }}
{{- else }}
{{- include "durable-timer.storeEnv" (dict "root" $ "name" $name "variable" (printf "DURABLE_TIMER_STORES__%s" (upper $name))) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A hash of the URLs that the chart itself keeps, which replaces pods with them; nothing where the Secrets are others'. Input: dict root, names. */}}
{{- define "durable-timer.storesMark" -}}
{{- $urls := list -}}
{{- range .names }}{{ with (index $.root.Values.stores . | default dict).url }}{{ $urls = append $urls . }}{{ end }}{{ end -}}
{{- with $urls }}{{ join " " . | sha256sum | trunc 16 | quote }}{{ end -}}
{{- end }}

{{/* Volumes with the stores' authorities. Input: dict root, names. */}}
{{- define "durable-timer.storeVolumes" -}}
{{- range $name := .names }}
{{- $tls := (index $.root.Values.stores $name | default dict).tls | default dict }}
{{- if $tls.caSecretName }}
- name: store-{{ $name }}
  secret: {secretName: {{ $tls.caSecretName | quote }}, items: [{key: {{ $tls.caKey | default "ca.crt" | quote }}, path: {{ $tls.caKey | default "ca.crt" | quote }}}]}
{{- else if $tls.caConfigMapName }}
- name: store-{{ $name }}
  configMap: {name: {{ $tls.caConfigMapName | quote }}, items: [{key: {{ $tls.caKey | default "ca.crt" | quote }}, path: {{ $tls.caKey | default "ca.crt" | quote }}}]}
{{- end }}
{{- end }}
{{- end }}

{{- define "durable-timer.storeMounts" -}}
{{- range $name := .names }}
{{- $tls := (index $.root.Values.stores $name | default dict).tls | default dict }}
{{- if or $tls.caSecretName $tls.caConfigMapName }}
- {name: store-{{ $name }}, mountPath: /etc/durable-timer/stores/{{ $name }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{/* A pool's values over those of all executors. Input: dict root, key. */}}
{{- define "durable-timer.pool" -}}
{{- $own := index .root.Values.executorPools .key | default dict -}}
{{- $pool := mergeOverwrite (deepCopy .root.Values.executor) (deepCopy $own) -}}
{{- if and $pool.autoscaling.hpa.enabled $pool.autoscaling.keda.enabled -}}
{{- fail (printf "executorPools.%s: hpa and keda exclude each other" .key) -}}
{{- end -}}
{{- if not (hasKey .root.Values.stores ($pool.store | default "default")) -}}
{{- fail (printf "executorPools.%s.store: there is no store %q" .key $pool.store) -}}
{{- end -}}
{{- toYaml $pool -}}
{{- end }}

{{/* Fails where the least number of pods is above the greatest. Input: dict scaling, name (the value's). */}}
{{- define "durable-timer.checkScaling" -}}
{{- if gt (int .scaling.minReplicas) (int .scaling.maxReplicas) -}}
{{- fail (printf "%s: minReplicas is above maxReplicas" .name) -}}
{{- end -}}
{{- end }}

{{/* What the user says of a component's settings: those of all, then its own. Input: dict root, own. */}}
{{- define "durable-timer.said" -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.settings) (deepCopy (.own | default dict))) -}}
{{- end }}

{{/* Seconds of a duration such as 1m30s, rounded up. */}}
{{- define "durable-timer.seconds" -}}
{{- $milliseconds := 0 -}}
{{- range $part := regexFindAll "[0-9]+(h|ms|m|s)" (toString .) -1 -}}
{{- $unit := regexReplaceAll "[0-9]+" $part "" -}}
{{- $milliseconds = add $milliseconds (mul (trimSuffix $unit $part | atoi) (index (dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1) $unit)) -}}
{{- end -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end }}

{{/* A component's file of settings: the usual ones, what the user says, what the chart decides. Input: dict root, own, decided, usual. */}}
{{- define "durable-timer.settings" -}}
{{- $all := include "durable-timer.said" . | fromYaml -}}
{{- range $name := list "listen" "store" "stores" "pool" "groups" "member_name" "member_host" "kubernetes" -}}
{{- if hasKey $all $name -}}
{{- fail (printf "settings.%s is decided by other values of this chart" $name) -}}
{{- end -}}
{{- end -}}
{{- $usual := dict "log" (dict "format" "json") "database" (dict "start_wait" "4m") -}}{{/* less than the startup probe's patience */}}
{{- toYaml (mergeOverwrite $usual (.usual | default dict) $all .decided) -}}
{{- end }}

{{/*
The volume with a program's settings. They come from an annotation of the pod: so the pods of the former revision keep theirs
when they restart, while those of the new one cannot start on what was set wrongly. Input: the file's name.
*/}}
{{- define "durable-timer.settingsVolume" -}}
downwardAPI:
  items: [{path: {{ . }}, fieldRef: {fieldPath: "metadata.annotations['durabletimer.dev/settings']"}}]
{{- end }}

{{- define "durable-timer.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "durable-timer.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What all pods have. Input: dict root, values (the component's), lost (seconds). */}}
{{- define "durable-timer.podCommon" -}}
enableServiceLinks: false # a Service's variables would look like settings
securityContext:
  {{- include "durable-timer.podSecurityContext" .root | nindent 2 }}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName | default (include "durable-timer.priorityClass" .root) }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
tolerations:
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: {{ .lost }}}
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: {{ .lost }}}
  {{- with .values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "durable-timer.priorityClass" -}}
{{- with .Values.priorityClass -}}
{{- .name | default (ternary (include "durable-timer.clustername" $) "" .create) -}}
{{- end -}}
{{- end }}

{{/* Input: dict spread, selector (YAML). */}}
{{- define "durable-timer.topologySpread" -}}
{{- $selector := .selector -}}
{{- with .spread }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{/* Probes. A start may wait for another pod's migration. Input: dict scheme, ready (seconds between looks). */}}
{{- define "durable-timer.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http, scheme: {{ .scheme }}}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 300
livenessProbe:
  httpGet: {path: /livez, port: http, scheme: {{ .scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http, scheme: {{ .scheme }}}
  periodSeconds: {{ .ready }}
  timeoutSeconds: 3 # it answers although a store does not, which takes it a second to tell
  failureThreshold: 2
{{- end }}

{{/* Down at most one pod a minute, after five minutes of calm; up at once. */}}
{{- define "durable-timer.behavior" -}}
scaleDown:
  stabilizationWindowSeconds: 300
  policies: [{type: Pods, value: 1, periodSeconds: 60}]
scaleUp:
  stabilizationWindowSeconds: 0
  policies: [{type: Percent, value: 100, periodSeconds: 30}]
{{- end }}
