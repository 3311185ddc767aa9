// Command run measures sluice beside HAProxy, nginx and a plain io.Copy proxy:
// each in turn, against the same backend, in the same run, several rounds. It
// prints medians and ratios as Markdown and keeps them under bench/results.
//
// README.md in the folder above tells the method.
package main
