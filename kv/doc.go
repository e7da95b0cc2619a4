// Package kv is what a program may know of a store, be it in the same process
// (package store) or behind a server (package client): errors, durability, items.
//
// It depends on nothing, and nothing in it does anything.
package kv
