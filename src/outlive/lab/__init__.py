"""What a lab is, without judgement: its inventory, its cluster, its machines and their power, the NFS server, MySQL."""
