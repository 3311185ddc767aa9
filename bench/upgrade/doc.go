// Command upgrade measures what an upgrade of the program beneath them costs long sessions and those who connect
// meanwhile: of sluice at several numbers of sessions, and, ten upgrades in a row, of HAProxy and nginx beside it, with
// what is left of each afterwards. It prints Markdown and keeps it under bench/results.
//
// README.md in the folder above tells the method.
package main
