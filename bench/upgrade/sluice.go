package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func (b *bed) sluiceConfig(socket string) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "admin: {listen: \"\", socket: %q}\n", socket)
	text.WriteString("log: {level: warn, sessions: \"off\"}\n")
	fmt.Fprintf(&text, "listeners:\n  bench: {bind: %q, pool: bench}\n", b.target)
	text.WriteString("pools:\n  bench:\n    balance: round_robin\n    check: {type: \"off\"}\n    backends:\n")
	for _, backend := range b.backends {
		fmt.Fprintf(&text, "      - %q\n", backend)
	}
	return b.config("sluice.yaml", text.String())
}

// startSluice starts sluice. An upgrade is over when the command that asks for it is, and the process that was has ended.
func startSluice(ctx context.Context, b *bed) (func(context.Context) (told, error), error) {
	socket := filepath.Join(b.dir, "sluice.sock")
	path, err := b.sluiceConfig(socket)
	if err != nil {
		return nil, err
	}
	program := filepath.Join(b.bin, "sluice")
	if _, err := b.keeper.run(program, "run", "-c", path); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (told, error) {
		said, err := exec.CommandContext(ctx, program, "upgrade", "--socket", socket).CombinedOutput()
		if err != nil {
			return told{}, fmt.Errorf("sluice upgrade: %w: %s", err, strings.TrimSpace(string(said)))
		}
		err = until(ctx, func() error {
			pids, err := b.keeper.pids()
			if err == nil && len(pids) != 1 {
				err = fmt.Errorf("processes %v are there after the upgrade", pids)
			}
			return err
		})
		if err != nil {
			return told{}, err
		}
		return askSluice(ctx, socket)
	}, nil
}

// askSluice reads of the last upgrade in the status.
func askSluice(ctx context.Context, socket string) (told, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sluice/api/v1/status", nil)
	if err != nil {
		return told{}, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return told{}, fmt.Errorf("ask for status: %w", err)
	}
	defer answer.Body.Close()
	return readStatus(answer)
}

func readStatus(answer *http.Response) (told, error) {
	var status struct {
		Upgrade *struct {
			OK           bool    `json:"ok"`
			Error        string  `json:"error"`
			AcceptPause  float64 `json:"accept_pause_seconds"`
			LongestPause float64 `json:"longest_pause_seconds"`
			Total        float64 `json:"total_seconds"`
		} `json:"upgrade"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
		return told{}, fmt.Errorf("read status: %w", err)
	}
	u := status.Upgrade
	if u == nil || !u.OK {
		return told{}, fmt.Errorf("read status: no upgrade that succeeded: %+v", u)
	}
	return told{accept: seconds(u.AcceptPause), session: seconds(u.LongestPause), total: seconds(u.Total)}, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
