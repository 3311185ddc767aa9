package l4

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// FuzzPacket checks of any input that telling what it starts with does not panic,
// asks for no more than a packet may have, and does not depend on how the bytes
// arrived.
func FuzzPacket(f *testing.F) {
	for _, p := range validPackets {
		f.Add(p.data)
		f.Add(append(slices.Clone(p.data), "and more"...))
		f.Add(p.data[:len(p.data)/2])
	}
	for _, data := range invalidPackets {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, size, err := parsePacket(data)
		switch err {
		case nil:
			if size < 2 || size > len(data) || kind != packetDirectTLS && (size < packetHead || size > maxStartup) {
				t.Fatalf("kind %d, size %d of %d", kind, size, len(data))
			}
		case io.ErrUnexpectedEOF:
			if size <= len(data) || size > maxStartup {
				t.Fatalf("%d bytes are asked for after %d", size, len(data))
			}
		case errPacket:
			if len(data) < packetHead {
				t.Fatalf("refused after %d bytes", len(data))
			}
		default:
			t.Fatal(err)
		}
		checkPacketPieces(t, data)
	})
}

// checkPacketPieces reads data as readHello does, and by single bytes.
func checkPacketPieces(t *testing.T, data []byte) {
	t.Helper()
	asked, read := 0, 0
	kind, size, err := parsePacket(nil)
	for err == io.ErrUnexpectedEOF && read < len(data) {
		asked, read = size, min(size, len(data))
		kind, size, err = parsePacket(data[:read])
	}
	if err == nil && kind != packetDirectTLS && (read != size || asked != size) {
		t.Fatalf("%d bytes were read of a packet of %d", read, size)
	}
	for n := range len(data) + 1 {
		k, s, e := parsePacket(data[:n])
		if e == io.ErrUnexpectedEOF {
			continue
		}
		if (e == nil) != (err == nil) || k != kind && e == nil || e == nil && kind != packetDirectTLS && s != size {
			t.Fatalf("after %d bytes: kind %d, size %d, %v; after reading as asked: %d, %d, %v", n, k, s, e, kind, size, err)
		}
		return
	}
	if err != io.ErrUnexpectedEOF {
		t.Fatalf("%v after reading as asked, and %v by bytes", err, io.ErrUnexpectedEOF)
	}
}

// FuzzKeyScanner checks that the scanner finds the same key, and stops at the
// same byte, however the bytes are split, and keeps nothing but the key.
func FuzzKeyScanner(f *testing.F) {
	f.Add(loginAnswer(cancelKey(1, 4)), []byte{1, 2, 3})
	f.Add(loginAnswer(cancelKey(1, 256)), []byte{5, 200, 255})
	f.Add(slices.Concat(askPassword, authenticationOK, parameter, backendMessage('K', cancelKey(1, 32)), readyForQuery), []byte{40})
	f.Add(slices.Concat(backendMessage('K', cancelKey(1, 4)), backendMessage('K', cancelKey(2, 4)), readyForQuery), []byte{0})
	f.Add(fatal("57P03"), []byte{1})
	f.Add([]byte("R\x00\x00\x00\x00K"), []byte{})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		var whole, split, single keyScanner
		whole.scan(data)
		for rest := data; len(rest) > 0; {
			n := len(rest)
			if len(cuts) > 0 {
				n, cuts = min(int(cuts[0]), n), cuts[1:]
			}
			split.scan(rest[:n])
			rest = rest[n:]
		}
		for i := range data {
			single.scan(data[i : i+1])
		}
		for _, other := range []*keyScanner{&split, &single} {
			if whole.done != other.done || !bytes.Equal(whole.key, other.key) {
				t.Fatalf("at once: key %x, done %v; split: %x, %v", whole.key, whole.done, other.key, other.done)
			}
		}
		if len(whole.key) > maxKey || cap(whole.key) > 4*maxKey || whole.got >= messageHead {
			t.Fatalf("%d bytes of key, capacity %d, %d of head", len(whole.key), cap(whole.key), whole.got)
		}
		if len(whole.key) > 0 && !bytes.Contains(data, whole.key) {
			t.Fatalf("the key %x is not in the data", whole.key)
		}
		errorState(data)
	})
}
