package admin

import (
	"bytes"
	"strconv"
	"strings"
)

// describe copies what the metrics library has written, and adds the help texts, which the library leaves empty. It
// makes counters of what is one by its name, and leaves out what its name says that it is not: promtool finds nothing
// to complain of then. before is added to what it has of the same series.
func describe(dst *bytes.Buffer, text []byte, before map[string]float64) {
	left := false
	for line := range bytes.Lines(text) {
		if line[0] == '#' {
			if family, ok := bytes.CutPrefix(line, []byte("# HELP ")); ok {
				name := string(bytes.TrimSpace(family))
				if left = misnamed[name]; !left {
					dst.WriteString("# HELP " + name + " " + helpOf(name) + "\n")
				}
				continue
			}
			if counter, ok := bytes.CutSuffix(line, []byte("_total gauge\n")); ok && !left {
				dst.Write(counter)
				dst.WriteString("_total counter\n")
				continue
			}
		}
		if !left {
			add(dst, line, before)
		}
	}
}

// add copies a line, with what came before.
func add(dst *bytes.Buffer, line []byte, before map[string]float64) {
	at := bytes.LastIndexByte(line, ' ')
	if at < 0 || len(before) == 0 {
		dst.Write(line)
		return
	}
	more, carried := before[string(line[:at])]
	value, err := strconv.ParseFloat(string(bytes.TrimSpace(line[at+1:])), 64)
	if !carried || err != nil {
		dst.Write(line)
		return
	}
	dst.Write(line[:at+1])
	dst.Write(appendValue(dst.AvailableBuffer(), value+more))
	dst.WriteByte('\n')
}

// appendValue writes a count as one: 1e+06 is a number too, but nobody likes to read it.
func appendValue(b []byte, value float64) []byte {
	if whole := uint64(value); float64(whole) == value {
		return strconv.AppendUint(b, whole, 10)
	}
	return strconv.AppendFloat(b, value, 'g', -1, 64)
}

// misnamed are counters and gauges with the suffix of a histogram's or summary's count.
var misnamed = map[string]bool{"go_cgo_calls_count": true, "go_cpu_count": true, "go_gc_forced_count": true}

// helpOf returns the help text of a family of the metrics library, or one that says where it comes from.
func helpOf(name string) string {
	if text, ok := helpTexts[name]; ok {
		return text
	}
	if words, ok := strings.CutPrefix(name, "go_"); ok {
		return "Of the Go runtime, see the packages runtime and runtime/metrics: " + strings.ReplaceAll(words, "_", " ") + "."
	}
	return "Of this process, see proc(5): " + strings.ReplaceAll(strings.TrimPrefix(name, "process_"), "_", " ") + "."
}

var helpTexts = map[string]string{
	"sluice_session_duration_seconds":         "From accept to the end, of sessions that came to the pool.",
	"sluice_pool_queue_wait_seconds":          "How long sessions waited for a backend, whether one came of it or not.",
	"sluice_backend_connect_seconds":          "How long connects took that succeeded.",
	"sluice_backend_session_duration_seconds": "From accept to the end, of sessions that the backend was connected for.",
	"sluice_backend_first_byte_seconds":       "From the client's first packet to the first byte of the answer, with protocol tls or postgres.",
	"sluice_check_seconds":                    "How long health checks took, whatever their result.",

	"go_gc_duration_seconds":        "Pauses of the garbage collector.",
	"go_gc_pauses_seconds":          "Pauses of the garbage collector.",
	"go_goroutines":                 "Goroutines that exist.",
	"go_gomaxprocs":                 "Threads that may run Go code at the same time.",
	"go_info":                       "Version of Go; always 1.",
	"go_info_ext":                   "How the program was compiled; always 1.",
	"go_memstats_heap_alloc_bytes":  "Bytes of objects on the heap.",
	"go_memstats_heap_sys_bytes":    "Bytes of the heap that were got from the kernel.",
	"go_memstats_stack_inuse_bytes": "Bytes of stacks.",
	"go_memstats_sys_bytes":         "Bytes that were got from the kernel.",
	"go_mutex_wait_seconds_total":   "Time that goroutines have waited for mutexes.",
	"go_sched_latencies_seconds":    "How long goroutines that could run waited for a thread.",
	"go_threads":                    "Threads that were made.",

	"process_cpu_seconds_total":                  "CPU time, user and system.",
	"process_cpu_seconds_user_total":             "CPU time in user mode.",
	"process_cpu_seconds_system_total":           "CPU time in the kernel.",
	"process_cgroup_cpu_throttled_seconds_total": "Time that the control group was not let run, because it had used up its quota.",
	"process_num_threads":                        "Threads.",
	"process_resident_memory_bytes":              "Memory that is in use, the binary and shared memory included.",
	"process_resident_memory_anon_bytes":         "Memory that is in use and belongs to no file.",
	"process_start_time_seconds":                 "When the process began, in seconds since 1970.",
	"process_virtual_memory_bytes":               "Address space.",
}
