// Package common stands in for the helpers of Tencent Cloud's client: see ../vpc.
package common

// StringPtr gives the address of a copy of s.
func StringPtr(s string) *string { return &s }

// BoolPtr gives the address of a copy of b.
func BoolPtr(b bool) *bool { return &b }

// StringPtrs gives the address of a copy of each string.
func StringPtrs(list []string) []*string {
	pointers := make([]*string, len(list))
	for i := range list {
		pointers[i] = StringPtr(list[i])
	}
	return pointers
}
