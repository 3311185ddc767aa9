package admin

import (
	"cmp"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request, _ url.Values) {
	s.writeJSON(w, http.StatusOK, describeAPI(s.options.Build.Version))
}

const aboutAPI = `What a running sluice is asked and told. The control socket (admin.socket) answers all of it, the TCP address
(admin.listen) what changes nothing. Times are RFC 3339, durations seconds, sizes bytes. A name in a path is one segment:
a / in it is %2F.`

// describeAPI returns the description of all endpoints, as OpenAPI 3.1 has it: https://spec.openapis.org/oas/v3.1.1.
func describeAPI(version string) schema {
	all := make(schemas)
	failure := all.of(reflect.TypeFor[Failure]())
	paths := schema{}
	for i := range endpoints {
		e := &endpoints[i]
		path := strings.TrimSuffix(e.path, "{$}")
		if paths[path] == nil {
			paths[path] = schema{}
		}
		paths[path].(schema)[strings.ToLower(e.method)] = all.operation(e, failure)
	}
	return schema{
		"openapi":    "3.1.1",
		"info":       schema{"title": "sluice", "version": version, "description": strings.ReplaceAll(aboutAPI, "\n", " ")},
		"paths":      paths,
		"components": schema{"schemas": all},
	}
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// operation describes one endpoint.
func (all schemas) operation(e *endpoint, failure schema) schema {
	var parameters []schema
	for _, m := range pathParameter.FindAllStringSubmatch(e.path, -1) {
		parameters = append(parameters, schema{"name": m[1], "in": "path", "required": true, "schema": text})
	}
	for _, p := range e.query {
		described := schema{"name": p.name, "in": "query", "description": p.about, "schema": p.schema}
		if p.several {
			described["schema"] = schema{"type": "array", "items": p.schema} // style form, exploded: the name is repeated
		}
		parameters = append(parameters, described)
	}
	o := schema{"summary": e.summary, "responses": all.responses(e, failure)}
	if len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if e.body != nil {
		o["requestBody"] = schema{"content": jsonContent(all.of(reflect.TypeOf(e.body).Elem()))}
	}
	if e.get == nil {
		o["description"] = "On the control socket only."
	}
	return o
}

// responses describes the answers of an endpoint. Text says in words what has failed.
func (all schemas) responses(e *endpoint, failure schema) schema {
	success, failed := schema{"text/plain": schema{"schema": text}}, schema{"text/plain": schema{"schema": text}}
	switch {
	case e.take != nil:
		success, failed = nil, jsonContent(failure)
	case e.answer != nil:
		success, failed = jsonContent(all.of(reflect.TypeOf(e.answer))), jsonContent(failure)
	}
	responses := schema{}
	add := func(status int, content schema) {
		described := schema{"description": http.StatusText(status)}
		if content != nil {
			described["content"] = content
		}
		responses[strconv.Itoa(status)] = described
	}
	add(cmp.Or(e.done, http.StatusOK), success)
	for _, status := range e.failures {
		add(status, failed)
	}
	if !e.lax {
		add(http.StatusBadRequest, failed)
	}
	if e.get == nil {
		add(http.StatusInternalServerError, failed)
	}
	return responses
}

func jsonContent(of schema) schema { return schema{"application/json": schema{"schema": of}} }
