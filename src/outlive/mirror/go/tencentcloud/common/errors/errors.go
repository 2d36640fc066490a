// Package errors stands in for the error type of Tencent Cloud's client: see ../../vpc.
package errors

// TencentCloudSDKError is an error that the cloud answered with.
type TencentCloudSDKError struct{ Message string }

// Error gives the cloud's message.
func (e *TencentCloudSDKError) Error() string { return e.Message }
