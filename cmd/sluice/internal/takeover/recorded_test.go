package takeover

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/handoff"
)

var recordMessages = flag.Bool("record-messages", false, "write testdata/messages-1.0.json anew, which is to be done never again")

// bodies are of the messages that have one. Sessions are recorded in package l4, and frames in package handoff.
func bodies() map[string]any {
	return map[string]any{
		handoff.Hello.String(): new(Version), handoff.Welcome.String(): new(Version),
		handoff.Refused.String(): new(handoff.PeerError), handoff.Failed.String(): new(handoff.PeerError),
		handoff.State.String(): new(State), handoff.Ready.String(): new(Ready), handoff.Accounts.String(): new(Accounts),
		handoff.Batch.String(): new(Batch), handoff.Ack.String(): new(Ack), handoff.Go.String(): new(Go),
		handoff.Counters.String(): new(Counters), handoff.Over.String(): new(Over), handoff.Farewell.String(): new(Farewell),
	}
}

// What version 1.0 has said is read by every version after it, and no key and no value of it is lost.
func TestMessagesOfFirstVersion(t *testing.T) {
	const file = "testdata/messages-1.0.json"
	if *recordMessages {
		list := bodies()
		for _, body := range list {
			(&filler{t: t}).fill(reflect.ValueOf(body).Elem())
		}
		text, err := json.MarshalIndent(list, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var recorded map[string]json.RawMessage
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	for kind, body := range bodies() {
		t.Run(kind, func(t *testing.T) {
			d := json.NewDecoder(bytes.NewReader(recorded[kind]))
			d.DisallowUnknownFields()
			if err := d.Decode(body); err != nil {
				t.Fatalf("it is not read any more: %v", err)
			}
			again, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			got, want := untyped(t, again), untyped(t, recorded[kind])
			if !reflect.DeepEqual(got, want) {
				t.Errorf("it has become\n%v, was\n%v", got, want)
			}
		})
	}
}

func untyped(t *testing.T, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A filler gives every field a value that is not zero, and another one each.
type filler struct {
	t *testing.T
	n int
}

var textual = reflect.TypeFor[encoding.TextUnmarshaler]()

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Date(2026, 11, 28, 9, f.n/60%60, f.n%60, 0, time.UTC)
		return
	case *json.RawMessage:
		*p = json.RawMessage(fmt.Sprintf(`{"n": %d}`, f.n))
		return
	case *pool.Address:
		*p = pool.Address{TCP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(f.n)}), uint16(f.n))}
		return
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(f.n)}), uint16(f.n))
		return
	}
	f.fillKind(v)
	if v.Addr().Type().Implements(textual) { // a number that is written as a word; there are not many
		switch {
		case v.CanInt():
			v.SetInt(1)
		case v.CanUint():
			v.SetUint(1)
		default:
			f.t.Fatalf("%v: what is a value of it?", v.Type())
		}
	}
}

func (f *filler) fillKind(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Tag.Get("json") != "-" {
				f.fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(key)
		f.fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(f.n) + .5)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint, reflect.Uintptr:
		v.SetUint(uint64(f.n % 200))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.n % 100))
	default:
		f.t.Fatalf("%v: what is a value of it?", v.Type())
	}
}
