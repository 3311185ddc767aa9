// Package systemd speaks with the service manager that has started this process, as systemd and those that are like it
// do: it tells how the process fares (sd_notify(3)), and takes the sockets that were opened for it (sd_listen_fds(3)).
// Both are a few lines over a datagram socket and the environment, so no library is needed.
package systemd
