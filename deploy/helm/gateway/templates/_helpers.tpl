{{- define "gateway.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}
{{- define "gateway.selector" -}}
app.kubernetes.io/name: gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "gateway.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}
{{- define "gateway.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
{{- define "gateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "gateway.placement" -}}
{{- /* Of each pod: whence it may fetch the image, and on which machines it may run. */ -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- define "gateway.settings" -}}
# Names as dotted keys of TOML; `gateway config --config /etc/gateway/gateway.toml` shows what is in force.
server.workers = {{ .Values.workers }}
{{- if .Values.proxies }}
server.proxies = {{ .Values.proxies | toJson }}
{{- end }}
timeouts.drain_grace_s = {{ .Values.drainGraceSeconds }}
{{- if .Values.jwksConfigMap }}
auth.jwks_file = "/run/jwks/jwks.json"
{{- else }}
auth.secret_file = "/run/secrets/gateway/jwt"
{{- end }}
{{- if .Values.redis.clusterUrl }}
redis.cluster_url = {{ .Values.redis.clusterUrl | quote }}
{{- else }}
redis.urls = {{ .Values.redis.urls | toJson }}
{{- end }}
redis.durability = {{ .Values.redis.durability | quote }}
{{- with .Values.redis.passwordKey }}
redis.password_file = "/run/secrets/gateway/{{ . }}"
{{- end }}
{{- if .Values.postgres.dsn }}
postgres.dsn = {{ .Values.postgres.dsn | quote }}
{{- with .Values.postgres.passwordKey }}
postgres.password_file = "/run/secrets/gateway/{{ . }}"
{{- end }}
{{- end }}
{{- $own := dict "server.workers" "workers" "server.proxies" "proxies" "timeouts.drain_grace_s" "drainGraceSeconds" }}
{{- $own = merge $own (dict "auth.jwks_file" "jwksConfigMap" "auth.secret_file" "existingSecret") }}
{{- $own = merge $own (dict "redis.urls" "redis.urls" "redis.cluster_url" "redis.clusterUrl") }}
{{- $own = merge $own (dict "redis.durability" "redis.durability" "redis.password_file" "redis.passwordKey") }}
{{- $own = merge $own (dict "postgres.dsn" "postgres.dsn" "postgres.password_file" "postgres.passwordKey") }}
{{- $fixed := list "server.port" "server.admin_port" }}
{{- range $name, $value := .Values.settings }}
{{- if hasKey $own $name }}{{ fail (printf "settings: %s is set by the chart's value %s" $name (get $own $name)) }}{{ end }}
{{- if has $name $fixed }}{{ fail (printf "settings: %s is fixed: the Service and the probes ask there" $name) }}{{ end }}
{{ $name }} = {{ include "gateway.toml" $value }}
{{- end }}
{{- end }}
{{- define "gateway.environment" -}}
{{- /* What the image's environment says: it goes before the file of settings. */ -}}
{{- range list "server.host" "server.admin_host" "server.data_dir" "server.demo" "server.log_format" }}
{{- if hasKey $.Values.settings . }}
- name: GATEWAY_{{ . | replace "." "_" | upper }}
  value: {{ get $.Values.settings . | toString | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- define "gateway.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $at, $key := keys . | sortAlpha }}{{ if $at }}, {{ end }}{{ $key | toJson }} = {{ get $ $key | toJson }}{{ end -}} }
{{- else -}}
{{ . | toJson }}
{{- end }}
{{- end }}
{{- define "gateway.secret" -}}
{{- /* Whether a key of the Secret is used. */ -}}
{{- if or (not .Values.jwksConfigMap) .Values.redis.passwordKey (and .Values.postgres.dsn .Values.postgres.passwordKey) }}yes{{ end }}
{{- end }}
{{- define "gateway.volumes" -}}
{{- if include "gateway.secret" . -}}
- {name: secret, secret: {secretName: {{ .Values.existingSecret }}, defaultMode: 288}}
{{- end }}
{{- if .Values.jwksConfigMap }}
- {name: jwks, configMap: {name: {{ .Values.jwksConfigMap }}}}
{{- end }}
- {name: data, emptyDir: {}}
- {name: tmp, emptyDir: {medium: Memory}}
{{- end }}
{{- define "gateway.mounts" -}}
- {name: settings, mountPath: /etc/gateway, readOnly: true}
{{- if include "gateway.secret" . }}
- {name: secret, mountPath: /run/secrets/gateway, readOnly: true}
{{- end }}
{{- if .Values.jwksConfigMap }}
- {name: jwks, mountPath: /run/jwks, readOnly: true}
{{- end }}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- end }}
