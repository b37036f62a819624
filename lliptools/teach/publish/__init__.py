"""How the course reaches its readers: pages without Python, an app, JupyterLab, coursework."""
