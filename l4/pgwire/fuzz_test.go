package pgwire

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"sluice/l4/pgwire/pgtest"
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
	for _, data := range pgtest.Bad {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, size, err := ParsePacket(data)
		switch err {
		case nil:
			if size < 2 || size > len(data) || kind != DirectTLS && (size < packetHead || size > MaxStartup) {
				t.Fatalf("kind %d, size %d of %d", kind, size, len(data))
			}
		case io.ErrUnexpectedEOF:
			if size <= len(data) || size > MaxStartup {
				t.Fatalf("%d bytes are asked for after %d", size, len(data))
			}
		case ErrPacket:
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
	kind, size, err := ParsePacket(nil)
	for err == io.ErrUnexpectedEOF && read < len(data) {
		asked, read = size, min(size, len(data))
		kind, size, err = ParsePacket(data[:read])
	}
	if err == nil && kind != DirectTLS && (read != size || asked != size) {
		t.Fatalf("%d bytes were read of a packet of %d", read, size)
	}
	for n := range len(data) + 1 {
		k, s, e := ParsePacket(data[:n])
		if e == io.ErrUnexpectedEOF {
			continue
		}
		if (e == nil) != (err == nil) || k != kind && e == nil || e == nil && kind != DirectTLS && s != size {
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
	f.Add(pgtest.LoginAnswer(pgtest.Key(1, 4)), []byte{1, 2, 3})
	f.Add(pgtest.LoginAnswer(pgtest.Key(1, 256)), []byte{5, 200, 255})
	keyed := func(seed byte, n int) []byte { return pgtest.Message('K', pgtest.Key(seed, n)) }
	f.Add(slices.Concat(pgtest.AskPassword, pgtest.AuthenticationOK, pgtest.Parameter, keyed(1, 32), pgtest.ReadyForQuery), []byte{40})
	f.Add(slices.Concat(keyed(1, 4), keyed(2, 4), pgtest.ReadyForQuery), []byte{0})
	f.Add(pgtest.Fatal("57P03"), []byte{1})
	f.Add([]byte("R\x00\x00\x00\x00K"), []byte{})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		var whole, split, single KeyScanner
		whole.Scan(data)
		for rest := data; len(rest) > 0; {
			n := len(rest)
			if len(cuts) > 0 {
				n, cuts = min(int(cuts[0]), n), cuts[1:]
			}
			split.Scan(rest[:n])
			rest = rest[n:]
		}
		for i := range data {
			single.Scan(data[i : i+1])
		}
		for _, other := range []*KeyScanner{&split, &single} {
			if whole.Done != other.Done || !bytes.Equal(whole.Key, other.Key) {
				t.Fatalf("at once: key %x, done %v; split: %x, %v", whole.Key, whole.Done, other.Key, other.Done)
			}
		}
		if len(whole.Key) > maxKey || cap(whole.Key) > 4*maxKey || whole.got >= messageHead {
			t.Fatalf("%d bytes of key, capacity %d, %d of head", len(whole.Key), cap(whole.Key), whole.got)
		}
		if len(whole.Key) > 0 && !bytes.Contains(data, whole.Key) {
			t.Fatalf("the key %x is not in the data", whole.Key)
		}
		ErrorState(data)
	})
}
