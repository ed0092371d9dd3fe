"""What every service runs on: manifests, the boundary, the client, bundles and settings.

It imports no service, no router and no Ray; see the modules.
"""
