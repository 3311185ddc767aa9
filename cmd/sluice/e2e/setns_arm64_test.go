package e2e

// sysSetns is the number of setns(2), which package syscall has no name for.
const sysSetns = 268
