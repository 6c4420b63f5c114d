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
{{- define "gateway.volumes" -}}
- {name: settings, configMap: {name: {{ include "gateway.name" . }}}}
- {name: secret, secret: {secretName: {{ .Values.existingSecret }}, defaultMode: 288}}
{{- if .Values.jwksConfigMap }}
- {name: jwks, configMap: {name: {{ .Values.jwksConfigMap }}}}
{{- end }}
- {name: data, emptyDir: {}}
- {name: tmp, emptyDir: {medium: Memory}}
{{- end }}
{{- define "gateway.mounts" -}}
- {name: settings, mountPath: /etc/gateway, readOnly: true}
- {name: secret, mountPath: /run/secrets/gateway, readOnly: true}
{{- if .Values.jwksConfigMap }}
- {name: jwks, mountPath: /run/jwks, readOnly: true}
{{- end }}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- end }}
