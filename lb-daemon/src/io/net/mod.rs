//! Links, addresses, routes and neighbours of the director: where a packet for a real server goes next.
