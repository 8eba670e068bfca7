//go:build tool

// Package tool names the program that the tests build, so that its version and those of its parts are pinned.
package tool

import _ "github.com/summerwind/h2spec/cmd/h2spec"
