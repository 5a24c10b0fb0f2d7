//! libp2p and nothing else: transport, discovery, gossip, blobs, limits.
