// Package v20170312 stands in for Tencent Cloud's VPC client, which flannel
// imports for its tencent-vpc backend. The client's module can't be downloaded
// from the Go module proxy, and the lab uses the vxlan backend. Flannel compiles
// against the names below; whoever selects the tencent-vpc backend gets an error.
package v20170312

import "errors"

var errNotBuilt = errors.New("this flannel is built without the tencent-vpc backend: choose vxlan")

// Client has the calls of the real client that flannel makes.
type Client struct{}

// Filter narrows a request down.
type Filter struct {
	Name   *string
	Values []*string
}

// Route is an entry of a routing table.
type Route struct {
	RouteId              *uint64
	DestinationCidrBlock *string
	GatewayType          *string
	GatewayId            *string
	RouteType            *string
	Enabled              *bool
}

// RouteTable is a routing table of a VPC.
type RouteTable struct {
	RouteTableId *string
	RouteSet     []*Route
}

// DescribeRouteTablesRequest asks for routing tables.
type DescribeRouteTablesRequest struct {
	Filters []*Filter
}

// DescribeRouteTablesResult is the body of the answer.
type DescribeRouteTablesResult struct {
	RouteTableSet []*RouteTable
}

// DescribeRouteTablesResponse is the answer to a DescribeRouteTablesRequest.
type DescribeRouteTablesResponse struct {
	Response *DescribeRouteTablesResult
}

// RoutesRequest names routes of a table, to create or to delete them.
type RoutesRequest struct {
	RouteTableId *string
	Routes       []*Route
}

// NewClientWithSecretId makes a client that refuses every call.
func NewClientWithSecretId(_, _, _ string) (*Client, error) {
	return &Client{}, errNotBuilt
}

// NewDescribeRouteTablesRequest makes an empty request.
func NewDescribeRouteTablesRequest() *DescribeRouteTablesRequest {
	return &DescribeRouteTablesRequest{}
}

// NewDeleteRoutesRequest makes an empty request.
func NewDeleteRoutesRequest() *RoutesRequest {
	return &RoutesRequest{}
}

// NewCreateRoutesRequest makes an empty request.
func NewCreateRoutesRequest() *RoutesRequest {
	return &RoutesRequest{}
}

// DescribeRouteTables refuses.
func (*Client) DescribeRouteTables(*DescribeRouteTablesRequest) (*DescribeRouteTablesResponse, error) {
	return nil, errNotBuilt
}

// DeleteRoutes refuses.
func (*Client) DeleteRoutes(*RoutesRequest) (*struct{}, error) {
	return nil, errNotBuilt
}

// CreateRoutes refuses.
func (*Client) CreateRoutes(*RoutesRequest) (*struct{}, error) {
	return nil, errNotBuilt
}
