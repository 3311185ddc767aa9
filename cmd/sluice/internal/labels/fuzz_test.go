package labels

import (
	"strings"
	"testing"

	"sluice/configs"
	"sluice/pool/discovery/docker"
)

// FuzzLabels: whatever two containers say, it makes no error of a configuration that is right, it does not take from the files
// what is theirs, and what is printed of it can be read.
func FuzzLabels(f *testing.F) {
	f.Add(":80", "tls", "a.example,*.b.example", "app", "v2", ":80", "", "", "app", "")
	f.Add(":79", "tcp", "", "files", "off", "[::1]:81,:82", "postgres", "x", "a: b # ${HOME}\n- \"", "$$")
	files := []configs.SourceText{{Name: "a.yaml", Text: `{listeners: {web: {bind: "127.0.0.1:79", pool: files}}, pools: {files: {backends: "10.0.0.1:80"}}}`}}
	f.Fuzz(func(t *testing.T, listen1, protocol1, sni1, pool1, proxy1, listen2, protocol2, sni2, pool2, proxy2 string) {
		for _, listen := range []string{listen1, listen2} {
			if strings.ContainsFunc(listen, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127 }) {
				return // it may be a name, which is looked up
			}
		}
		all := containers("one\ntwo")
		for i, values := range [][]string{{listen1, protocol1, sni1, pool1, proxy1}, {listen2, protocol2, sni2, pool2, proxy2}} {
			for j, label := range []string{docker.LabelListen, docker.LabelProtocol, docker.LabelSNI, docker.LabelPool, docker.LabelSendProxy} {
				if values[j] != "" {
					all[i].Labels[label] = values[j]
				}
			}
		}
		r, err := Resolve(files, "unix:/s", all)
		if err != nil {
			t.Fatalf("%v\nof %v", err, all)
		}
		if l := r.File.Listeners[0]; l.Name != "web" || l.Pool != "files" || len(r.File.Pool("files").Config.Backends) != 1 {
			t.Errorf("the files say something else: %s\nof %v", shown(r.File), all)
		}
		text := configs.SourceText{Name: "labels.yaml", Text: r.YAML, Generated: true}
		if _, err := configs.ParseTexts(append(files, text)...); err != nil {
			t.Errorf("what is printed cannot be read: %v", err)
		}
	})
}
