package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fakeProc makes root a directory with the given files.
func fakeProc(t *testing.T, files map[string]string) {
	t.Helper()
	old := root
	root = t.TempDir()
	t.Cleanup(func() { root = old })
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func statLine(pid, parent, command, utime, stime string) string {
	return pid + " (" + command + ") S " + parent + " 7 7 0 -1 4194304 1 2 3 4 " + utime + " " + stime + " 99 99 20 0 1 0\n"
}

func TestParseStat(t *testing.T) {
	f := func(line string, want stat, wantErr string) {
		t.Helper()
		got, err := parseStat([]byte(line))
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%q: got error %v, want %q", line, err, wantErr)
			}
			return
		}
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", line, got, err, want)
		}
	}
	f(statLine("12", "3", "nginx", "40", "2"), stat{pid: 12, parent: 3, ticks: 42, reaped: 198}, "")
	f(statLine("12", "3", "a) S 1 (b", "40", "2"), stat{pid: 12, parent: 3, ticks: 42, reaped: 198}, "")
	f("12 nginx S", stat{}, "no command")
	f("12 (nginx) S 1 2", stat{}, "3 fields")
	f(statLine("x", "3", "c", "1", "1"), stat{}, "invalid syntax")
	f(statLine("1", "3", "c", "1", "-1"), stat{}, "invalid syntax")
}

func TestTreeHasDescendantsOnly(t *testing.T) {
	fakeProc(t, map[string]string{
		"10/stat": statLine("10", "1", "master", "0", "0"),
		"11/stat": statLine("11", "10", "worker", "0", "0"),
		"12/stat": statLine("12", "10", "worker", "0", "0"),
		"13/stat": statLine("13", "12", "grandchild", "0", "0"),
		"14/stat": statLine("14", "1", "other", "0", "0"),
		"15/stat": strings.Replace(statLine("15", "10", "zombie", "0", "0"), ") S ", ") Z ", 1),
		"uptime":  "1 2",
	})
	if tree, err := Tree(10); err != nil || !slices.Equal(tree, []int{10, 11, 12, 13}) {
		t.Errorf("got %v, %v", tree, err)
	}
	if _, err := Tree(99); err == nil {
		t.Error("no error for a process that does not exist")
	}
}

func TestCPUTimeSumsThreadsAndProcesses(t *testing.T) {
	fakeProc(t, map[string]string{
		"10/stat":              statLine("10", "1", "m", "3", "2"),
		"10/task/10/schedstat": "30000000 5 6\n",
		"10/task/15/schedstat": "20000001 5 6\n",
		"11/stat":              statLine("11", "10", "w", "0", "1"),
		"11/task/11/schedstat": "7000000 5 6\n",
	})
	got, err := CPUTime([]int{10, 11})
	want := CPU{precise: 57000001, coarse: 60 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := CPUTime([]int{10, 12}); err == nil {
		t.Error("no error for a process that has ended")
	}
}

func TestSpentHasThoseThatHaveEnded(t *testing.T) {
	fakeProc(t, map[string]string{
		"10/stat": statLine("10", "1", "m", "3", "2"),
		"11/stat": statLine("11", "10", "w", "0", "1"),
	})
	const reaped = 2 * 2 * 99 // by each of the two, in user mode and in the kernel
	if got, err := Spent(10); err != nil || got != (6+reaped)*tick {
		t.Errorf("got %v, %v; want %v", got, err, (6+reaped)*tick)
	}
	if _, err := Spent(99); err == nil {
		t.Error("no error for a process that does not exist")
	}
}

func TestSince(t *testing.T) {
	f := func(name string, precise, coarse, want time.Duration) {
		t.Helper()
		before := CPU{precise: 5 * time.Second, coarse: 6 * time.Second}
		after := CPU{precise: before.precise + precise, coarse: before.coarse + coarse}
		if got := after.Since(before); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	f("both agree", 123456789, 120*time.Millisecond, 123456789)
	f("ticks run ahead a little", 100*time.Millisecond, 120*time.Millisecond, 100*time.Millisecond)
	f("a thread ended", -900*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond)
	f("no schedstats", 0, 200*time.Millisecond, 200*time.Millisecond)
}

func TestResidentAndDescriptors(t *testing.T) {
	fakeProc(t, map[string]string{
		"10/smaps_rollup": "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss:   600 kB\nPss_Anon:  500 kB\n",
		"11/status":       "Name:\tw\nVmRSS:\t   400 kB\n",
		"12/status":       "Name:\tzombie\n",
		"10/fd/0":         "", "10/fd/1": "", "11/fd/0": "",
	})
	if n, err := Resident([]int{10, 11}); err != nil || n != 1000<<10 {
		t.Errorf("resident %d, %v; want %d", n, err, 1000<<10)
	}
	if _, err := Resident([]int{12}); err == nil {
		t.Error("no error for a process without memory")
	}
	if n, err := Descriptors([]int{10, 11}); err != nil || n != 3 {
		t.Errorf("descriptors %d, %v; want 3", n, err)
	}
}

// TestRealProcess reads this kernel's own files.
func TestRealProcess(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done & while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	deadline := time.Now().Add(time.Minute)
	var tree []int
	for len(tree) != 2 {
		if time.Now().After(deadline) {
			t.Fatalf("tree is %v, want a shell and its child", tree)
		}
		tree, _ = Tree(cmd.Process.Pid)
	}
	before, err := CPUTime(tree)
	if err != nil {
		t.Fatal(err)
	}
	for {
		now, err := CPUTime(tree)
		if err != nil {
			t.Fatal(err)
		}
		if now.Since(before) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("two spinning processes use no CPU")
		}
	}
	if n, err := Resident(tree); err != nil || n <= 0 {
		t.Errorf("resident %d, %v", n, err)
	}
	if n, err := Descriptors(tree); err != nil || n < 2 {
		t.Errorf("descriptors %d, %v", n, err)
	}
}
